"""The two stages of training, their loop and the judgement of what came out."""
