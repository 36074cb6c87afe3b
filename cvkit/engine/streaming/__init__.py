"""Stream many input files through a model into a result folder, and record what is done."""
