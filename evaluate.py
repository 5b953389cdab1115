"""Score a simulation and write its report: python evaluate.py run=outputs/NAME."""

from mars_lmm.cli import evaluate

if __name__ == "__main__":
    evaluate()
