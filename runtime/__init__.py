"""Runs an artifact on a phone-class CPU, with the guard on both sides. Needs neither torch nor transformers."""
