"""The shipped small CLIP, and how it is trained."""
