"""Runs as processes of this machine: its slots, its GPUs, and the keeper that starts and supervises them."""
