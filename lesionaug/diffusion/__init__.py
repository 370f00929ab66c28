"""The mathematics of diffusion; it knows neither MRI nor networks."""
