"""What is said: the language that client, gateway, auth service and chat service share.

Pure: standard library, msgspec (and protobuf) only. Imports nothing of ours.
"""
