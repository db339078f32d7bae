"""From a checkpoint to what a phone runs: merge, int4, and the guard's int8. It trains and measures nothing."""
