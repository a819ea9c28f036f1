"""Repeated checks of every token by the verifiers, from its issuance until its refusal after
expiry."""

import datetime
import time

# The delay in seconds with which a thread may record a time.
LATE = 0.5
# A token that is accepted for this many seconds after its end is no longer watched.
GIVE_UP = 4


class Watch:
    """One verifier, and its results for every token."""

    def __init__(self, verifier, deployment):
        self.verifier, self.deployment = verifier, deployment
        self.read = 0
        self.live = {}
        self.checks = self.accepted = self.over = self.forged_refused = self.forged_accepted = 0
        self.last_taken = {}
        self.rejected, self.late, self.unseen = [], [], []

    def run(self):
        while not self.deployment.ended.is_set() or self.live or self.read < len(self.deployment.issued):
            self.look()
            time.sleep(0.05)

    def look(self):
        issued = self.deployment.issued
        read, self.read = self.read, len(issued)
        self.live.update((token, False) for token in issued[read : self.read])
        tokens = list(self.live)
        for token, (began, done, error) in zip(tokens, self.verifier.judge(tokens), strict=True):
            self.note(token, token.exp + self.deployment.rules.leeway, began, done, error)
        self.look_at_what_is_over()

    def note(self, token, end, began, done, error):
        self.checks += 1
        if error is None:
            self.accepted += not self.live[token]
            self.live[token] = True
            if began >= end:
                self.late.append(f"{token.kid}: taken {began - end:.3f} s past its end")
            if began >= end + GIVE_UP:
                del self.live[token]
        elif done < end:
            self.rejected.append(f"{token.kid}: {error}, {end - done:.3f} s before its end")
        elif began >= end:
            self.over += 1
            if not self.live.pop(token):
                self.unseen.append(f"{token.kid}: never accepted")

    def look_at_what_is_over(self):
        """Checks tokens of keys that no longer sign, as if they had not expired. They represent
        tokens forged with a stolen key."""
        tokens = self.deployment.samples()
        for token, (began, _, error) in zip(tokens, self.verifier.judge_over(tokens), strict=True):
            if error is None:
                self.forged_accepted += 1
                self.last_taken[token.kid] = began
            else:
                self.forged_refused += 1

    def outlived(self):
        """Keys that were accepted for longer after their removal from the JWKS than a
        verifier may cache it."""
        rules = self.deployment.rules
        removed = {key["kid"]: moment(key["removed_at"]) for key in self.deployment.keys if key["removed_at"]}
        since = {kid: taken - removed[kid] for kid, taken in list(self.last_taken.items()) if kid in removed}
        return [f"{kid}: {s:.3f} s after its removal" for kid, s in since.items() if s > rules.staleness + rules.cache + LATE]

    def __str__(self):
        return (
            f"{self.verifier.name}: {self.checks} checks; {self.accepted} tokens accepted, {self.over} refused past their end; "
            f"wrong: {len(self.rejected)} valid ones rejected, {len(self.late)} accepted past their end, "
            f"{len(self.unseen)} never accepted; by retired keys: {self.forged_accepted} accepted, {self.forged_refused} refused, "
            f"{len(self.outlived())} of these keys accepted for too long"
        )


def moment(text):
    return datetime.datetime.fromisoformat(text).timestamp()
