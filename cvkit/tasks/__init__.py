"""One verb a file: a Config goes in, a frozen Result comes out."""
