"""Columns of the tables of classes that commands write."""

CLASS_COLUMNS = ("image", "rank", "class_index", "class_id", "label", "probability")
# Kept in the ledger for the accuracy; these are no columns of results.csv.
TRUE_CLASS, TRUE_RANK = "true_index", "true_rank"
