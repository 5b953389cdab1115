"""What feeds share: raw files, columns of text and numbers, and the engines behind the messages of a venue."""
