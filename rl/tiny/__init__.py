"""How the shipped tiny policy is made: its image tokenizer, its text tokenizer, its first weights."""
