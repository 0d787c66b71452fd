"""Task heads: what a text means to a shop, learned from a table of texts and labels, served as one affine map."""
