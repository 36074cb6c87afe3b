"""Columns of the tables of classes that commands write."""

CLASS_COLUMNS = ("image", "rank", "class_index", "class_id", "label", "probability")
