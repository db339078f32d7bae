"""Post-trains a model by the break-fix cycle: curate, SFT, preferences, DPO, guard, and the order they come in."""
