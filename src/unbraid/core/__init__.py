"""What every room uses: errors, shapes, randomness, and a run's folder."""
