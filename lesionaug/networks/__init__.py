"""Networks: tensors in, tensors out; they know neither diffusion nor MRI."""
