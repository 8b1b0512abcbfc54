"""From a sweep.yaml to checked, frozen values. Every message says file, line and key. Nothing is started or written."""
