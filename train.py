"""Prepare data and train an order model: python train.py [group=option] [key=value]."""

from mars_lmm.cli import train

if __name__ == "__main__":
    train()
