"""Synthetic readings of inertial sensors: ten behaviours, many subjects, two sensors on the body of each.

    python data.py -o data      train.npz, val.npz, calib.npz, test.npz and calibration_data.npy

A sample is what two sensors read in two seconds at 50 Hz: (9, 2, 100) = channels, positions (hip, ankle), time. The
channels are acceleration with gravity (m/s2), rate of turn (rad/s) and magnetic field (uT), three axes each, with the
ranges and the resolution of common sensors: +-8 g, +-1000 degrees/s, +-100 uT, 16 bits.

What is made up, and how. A body has angles of roll, pitch and heading over time and an acceleration of its own; both
follow from the behaviour (a fundamental and harmonics at the pace of the steps, bumps of half a sine, a steady turn)
and from its subject: pace, vigour, shape of the steps, how much the foot swings. Readings follow by physics: gravity
and the field of the earth are turned into the body's frame, rates are derivatives of the angles. Then the sensor is
mounted askew, another way for each subject and position, with bias, iron near the magnetometer, noise, and full scale.

Subjects are in one split only: a network that knows the subjects by heart gains nothing on the test. The network does
not get m/s2: each kind of sensor is divided by a fixed number (SCALE), since all nine channels share one input scale on
the chip. The numbers are facts about motion, not statistics of a data set, so that the Pi needs nothing but them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

BEHAVIOURS = (
    "stationary", "walk", "run", "stairs up", "stairs down", "turn left", "turn right", "jump", "sit or stand", "cycle",
)  # fmt: skip
RATE, STEPS, POSITIONS = 50, 100, 2
SCALE = np.repeat(np.array([20.0, 4.0, 50.0], np.float32), 3)[:, None, None]
"""A reading divided by this is what the network takes: all channels stay within about -2 to 2."""
FULL_SCALE = np.repeat(np.array([8 * 9.81, np.deg2rad(1000), 100.0]), 3)[:, None, None]
NOISE = np.repeat(np.array([0.25, 0.05, 1.5]), 3)[:, None, None]
GRAVITY, FIELD = np.array([0.0, 0.0, 9.81]), np.array([20.0, 0.0, -44.0])  # up, and north and down

SUBJECTS = {"train": range(32), "val": range(100, 116), "calib": range(200, 208), "test": range(300, 324)}
SAMPLES = {"train": 6400, "val": 2048, "calib": 1024, "test": 2400}
# pace of the steps (Hz), vertical acceleration (m/s2), share of the second harmonic, swing of the foot (rad), for each
# behaviour that has steps
GAITS = {
    "walk": (1.85, 2.4, 0.35, 0.45), "run": (2.7, 8.5, 0.25, 0.75), "stairs up": (1.65, 2.1, 0.45, 0.52),
    "stairs down": (1.8, 2.9, 0.52, 0.42), "turn left": (1.65, 2.0, 0.35, 0.40), "turn right": (1.65, 2.0, 0.35, 0.40),
}  # fmt: skip
LEAN = {"stairs up": 0.14, "stairs down": -0.06, "run": 0.12, "cycle": 0.35}  # of the trunk, forward (rad)


@dataclass(frozen=True)
class Subject:
    """What is a person's own, and how the sensors sit on them."""

    pace: float
    vigour: float
    shape: Array  # of the steps: phases of two harmonics
    swing: float
    lean: float
    mounting: Array  # (2, 3, 3) rotations, one a position
    bias: Array  # (9, 2, 1)
    noise: float


def subject(number: int) -> Subject:
    """The person of that number, the same at every call."""
    rng = np.random.default_rng([number, 20])
    askew = rng.normal(0, 0.27, (POSITIONS, 3))
    spread = np.repeat(np.array([0.25, 0.03, 6.0]), 3)[:, None, None]
    return Subject(
        pace=rng.normal(1, 0.09),
        vigour=np.exp(rng.normal(0, 0.22)),
        shape=rng.normal(0, 0.6, 2),
        swing=np.exp(rng.normal(0, 0.2)),
        lean=rng.normal(0, 0.07),
        mounting=rotation(*askew.T),
        bias=rng.normal(0, 1, (9, POSITIONS, 1)) * spread,
        noise=np.exp(rng.normal(0, 0.3)),
    )


def rotation(roll: Array, pitch: Array, heading: Array) -> Array:
    """Matrices (..., 3, 3) that turn what is in the body's frame into that of the earth: x forward, y left, z up."""
    (cr, sr), (cp, sp), (ch, sh) = ((np.cos(angle), np.sin(angle)) for angle in (roll, pitch, heading))
    rows = [
        [ch * cp, ch * sp * sr - sh * cr, ch * sp * cr + sh * sr],
        [sh * cp, sh * sp * sr + ch * cr, sh * sp * cr - ch * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def sample(who: Subject, behaviour: str, rng: np.random.Generator) -> Array:
    """One reading (9, 2, 100) in physical units."""
    time = np.arange(STEPS) / RATE
    heading = rng.uniform(-np.pi, np.pi) + rng.normal(0, 0.13) * time
    if behaviour.startswith("turn"):
        rate = rng.uniform(0.35, 1.4) * (1 if behaviour.endswith("left") else -1)
        begin, end = np.sort(rng.uniform(-0.5, 2.5, 2))
        turning = (time > begin) & (time < max(end, begin + 1.0))
        heading = heading + np.cumsum(rate * turning) / RATE
    readings = np.empty((9, POSITIONS, STEPS))
    phase, pace = rng.uniform(0, 2 * np.pi), who.pace * rng.normal(1, 0.08)
    vigour = who.vigour * np.exp(rng.normal(0, 0.15))
    moment = rng.uniform(0.5, 1.5)  # when what happens once happens
    for position in range(POSITIONS):
        own, roll, pitch = movement(behaviour, position, who, time, phase, pace, vigour, moment, rng)
        turn = rotation(roll, pitch, heading)
        to_body = np.swapaxes(turn, -1, -2)
        readings[0:3, position] = (to_body @ (own.T + GRAVITY)[..., None])[..., 0].T
        rates = np.stack([np.gradient(angle, time) for angle in (roll, pitch, np.broadcast_to(heading, STEPS))])
        readings[3:6, position] = rates
        readings[6:9, position] = (to_body @ FIELD[..., None])[..., 0].T
        for first in (0, 3, 6):
            readings[first : first + 3, position] = who.mounting[position] @ readings[first : first + 3, position]
    readings += who.bias + rng.normal(0, 1, readings.shape) * NOISE * who.noise
    step = FULL_SCALE / 2**15
    return np.asarray(np.clip(np.round(readings / step) * step, -FULL_SCALE, FULL_SCALE), np.float32)


def movement(
    behaviour: str,
    position: int,
    who: Subject,
    time: Array,
    phase: float,
    pace: float,
    vigour: float,
    moment: float,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Own acceleration (3, 100) in the frame of the earth, roll and pitch (100,), of the hip (0) or the ankle (1)."""
    own = np.zeros((3, STEPS))
    roll = np.full(STEPS, rng.normal(0, 0.05))
    pitch = np.full(STEPS, who.lean + LEAN.get(behaviour, 0.0) * (1 - position) + rng.normal(0, 0.05))
    if behaviour in GAITS:
        rate, rise, second, swing = GAITS[behaviour]
        angle = 2 * np.pi * rate * pace * time + phase
        wave = np.sin(angle) + second * np.sin(2 * angle + who.shape[0]) + 0.2 * np.sin(3 * angle + who.shape[1])
        own[2] = rise * vigour * (1 + 0.6 * position) * wave
        own[0] = 0.5 * rise * vigour * np.sin(angle + 0.8 + who.shape[1])
        own[1] = 0.3 * rise * vigour * np.sin(angle / 2)
        roll = roll + 0.06 * np.sin(angle / 2)
        pitch = pitch + (swing * who.swing if position else 0.05) * np.sin(angle / 2 + 0.4)
    elif behaviour == "jump":
        own[2] = vigour * sum(4.5 * bump(time, moment + shift, 0.35) * sign for shift, sign in
                              ((-0.35, 1.0), (0.0, -2.0), (0.4, 2.2)))  # fmt: skip
        pitch = pitch + 0.25 * who.swing * (bump(time, moment - 0.3, 0.5) + bump(time, moment + 0.4, 0.5))
    elif behaviour == "sit or stand":
        lasts = rng.uniform(0.8, 1.6)
        pitch = pitch + rng.uniform(0.3, 0.8) * bump(time, moment, lasts) * (1 - 0.8 * position)
        own[2] = vigour * 1.3 * rng.choice([-1, 1]) * (bump(time, moment - 0.3, 0.6) - bump(time, moment + 0.3, 0.6))
    elif behaviour == "cycle":
        angle = 2 * np.pi * 1.25 * pace * time + phase
        pitch = pitch + (0.5 * who.swing if position else 0.03) * np.sin(angle)
        own += (0.6 * np.array([[0.5], [0.4], [1.0]])) * vigour * rng.normal(0, 1, own.shape)
        own[2] += 0.9 * vigour * position * np.sin(angle + who.shape[0])
    sway = np.cumsum(rng.normal(0, 0.015, (2, STEPS)), 1)
    return own, roll + sway[0], pitch + sway[1]


def bump(time: Array, middle: float, width: float) -> Array:
    """Half a sine, 1 at its middle."""
    place = np.clip((time - middle) / width + 0.5, 0, 1)
    return np.asarray(np.sin(np.pi * place))


def make(split: str, count: int | None = None, seed: int = 0) -> tuple[Array, Array, Array]:
    """Samples of a split as the network takes them (N, 9, 2, 100) float32, their behaviours (N,) and subjects (N,)."""
    count = SAMPLES[split] if count is None else count
    people = {number: subject(number) for number in SUBJECTS[split]}
    rng = np.random.default_rng([seed, SUBJECTS[split].start])
    labels = np.resize(np.arange(len(BEHAVIOURS)), count)
    numbers = rng.choice(list(people), count)
    rng.shuffle(labels)
    made = np.stack([sample(people[n], BEHAVIOURS[label], rng) for n, label in zip(numbers, labels, strict=True)])
    return np.asarray(made / SCALE, np.float32), labels.astype(np.int64), numbers


def write(folder: Path, counts: dict[str, int] | None = None) -> None:
    """All splits, and the calibration set as the compiler takes it: (N, height, width, channels)."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SUBJECTS:
        inputs, labels, _ = make(split, (counts or {}).get(split))
        np.savez(folder / f"{split}.npz", imu_input=inputs, labels=labels)
        if split == "calib":
            np.save(folder / "calibration_data.npy", inputs.transpose(0, 2, 3, 1))
        print(f"{split:<6} {len(inputs)} samples of {len(SUBJECTS[split])} subjects")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("data"), help="the folder to write")
    parser.add_argument("--quick", action="store_true", help="few samples, to try things")
    options = parser.parse_args()
    write(options.output, {"train": 640, "val": 160, "calib": 64, "test": 160} if options.quick else None)


if __name__ == "__main__":
    main()
