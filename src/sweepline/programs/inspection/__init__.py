"""What a training script takes and tells, found in its text: it is never imported or executed."""
