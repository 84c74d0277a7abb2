"""Training as a product: samples, losses and the loop that fits a cascade. Imports torch."""
