"""How good a ranking is, by three protocols, beside baselines that deserve the name."""
