"""What feeds share: files, the ledger of what was refused, the messages by order id, and what becomes of them."""
