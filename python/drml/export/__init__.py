"""Nets and weights in the formats of others: ONNX, NumPy's .npz, .safetensors."""
