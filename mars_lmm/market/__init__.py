"""What a market is: the words, the matching core, its reference, and a batch of books."""
