"""Workers that sample and score, inline and over Ray."""
