"""Mixed Long-CoT fine-tuning: the cold start before RL."""
