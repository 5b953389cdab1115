"""What rollouts leave: files, counts and pictures."""
