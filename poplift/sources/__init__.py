"""Outside data turned into contract events; nothing downstream knows where data came from."""
