"""How well it learns: methods, seeds, gradients."""
