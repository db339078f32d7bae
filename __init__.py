"""Breakfix: make a small language model safe, shrink it to int4 for a phone, guard it, and prove it on the file that ships."""

import os

# ONNX Runtime and genai send telemetry unless this is set before their first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
