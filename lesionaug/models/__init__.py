"""The two jobs, drawing a lesion's mask and painting its tissue, and everybody who does them."""
