"""Images, fixations and the data sets made of them."""
