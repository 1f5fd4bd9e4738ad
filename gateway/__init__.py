"""The gateway: holds the sockets."""
