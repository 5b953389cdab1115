"""Roll out a trained model from held-out starts: python simulate.py run=outputs/NAME [key=value]."""

from mars_lmm.cli import simulate

if __name__ == "__main__":
    simulate()
