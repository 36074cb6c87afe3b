"""Exported models: write, open, quantize, compare and time ONNX, torch.export and OpenVINO files."""
