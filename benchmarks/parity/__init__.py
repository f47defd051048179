"""Whether it equals the originals and labelled references."""
