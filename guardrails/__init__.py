"""Judges text; knows no chat model. A guard that cannot judge refuses."""
