"""What a busy machine may add to a deadline, beside three processes of a suite; whoever keeps none takes far longer."""

SLACK_S = 1.0
