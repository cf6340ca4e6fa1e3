"""Made-up listings: 13 root categories, a few kinds of product in each, and the look of every product."""

import uuid
from dataclasses import dataclass

import numpy as np

# Root category -> kinds of product; each kind is also the name of the Font Awesome icon that gives its shape.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "Appliances": ("blender", "fan", "kitchen-set", "mug-hot", "plug"),
    "Audio & Stereo": ("headphones", "microphone", "radio", "volume-high"),
    "Baby & Kids Stuff": ("baby-carriage", "cubes", "horse", "puzzle-piece", "robot"),
    "Cameras, TVs & Video": ("camera", "camera-retro", "film", "tv", "video"),
    "Cars, Motorcycles & Boats": ("car", "caravan", "motorcycle", "sailboat", "tractor"),
    "Clothes, Footwear & Accessories": ("glasses", "hat-cowboy", "mitten", "shirt", "shoe-prints", "socks"),
    "Computers & Software": ("computer-mouse", "desktop", "hard-drive", "keyboard", "laptop", "print"),
    "DIY Tools & Materials": ("brush", "hammer", "paint-roller", "screwdriver", "toolbox", "wrench"),
    "Health & Beauty": ("bottle-droplet", "pump-soap", "scissors", "spray-can-sparkles", "stethoscope"),
    "Home & Garden": ("bath", "bed", "chair", "couch", "lightbulb", "seedling"),
    "Music, Films, Books & Games": ("book", "compact-disc", "dice", "drum", "gamepad", "guitar"),
    "Phones, Mobile Phones & Telecoms": ("fax", "mobile-screen-button", "phone", "walkie-talkie"),
    "Sports, Leisure & Travel": ("basketball", "bicycle", "campground", "dumbbell", "suitcase"),
}
PATTERNS = ("plain", "stripes", "checks", "dots", "two-tone")
COLOURS: dict[str, tuple[int, int, int]] = {
    "Red": (200, 38, 45), "Orange": (232, 125, 30), "Yellow": (235, 200, 50), "Green": (52, 140, 70),
    "Teal": (30, 140, 145), "Blue": (45, 85, 185), "Purple": (120, 65, 160), "Pink": (230, 120, 165),
    "Brown": (120, 80, 50), "Black": (40, 40, 45), "Grey": (130, 132, 138), "Cream": (236, 224, 196),
}  # fmt: skip
LOCATIONS = (
    "Wokingham, Berkshire", "Hackney, London", "Stoke-on-Trent, Staffordshire", "Norwich, Norfolk", "Stirling",
    "Cardiff", "Inverness, Highland", "Leeds, West Yorkshire", "Derry, County Londonderry", "Truro, Cornwall",
)  # fmt: skip
PHOTOS_PER_PRODUCT = {1: 0.15, 2: 0.75, 3: 0.10}


@dataclass(frozen=True)
class Listing:
    """The listing of a made-up product, and the product's look."""

    id: str
    name: str
    category: str  # the root
    path: str
    description: str
    pence: int
    location: str
    icon: str
    pattern: str
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    image_ids: tuple[str, ...]


def make_listings(n_products: int, seed: int) -> list[Listing]:
    """Make up `n_products` listings; product i does not depend on their number."""
    return [_make_listing(index, seed) for index in range(n_products)]


def _make_listing(index: int, seed: int) -> Listing:
    rng = np.random.default_rng([seed, index])
    roots = list(CATEGORIES)
    root = roots[index % len(roots)]
    icon = str(rng.choice(CATEGORIES[root]))
    kind = icon.replace("-", " ")
    colour_names = [str(name) for name in rng.choice(list(COLOURS), 2, replace=False)]
    pattern = str(rng.choice(PATTERNS))
    location = str(rng.choice(LOCATIONS))
    n_photos = rng.choice(list(PHOTOS_PER_PRODUCT), p=list(PHOTOS_PER_PRODUCT.values()))
    colours = [tuple(int(c) for c in np.clip(COLOURS[name] + rng.normal(0, 12, 3), 0, 255)) for name in colour_names]
    return Listing(
        id=make_id(seed, "product", index),
        name=f"{colour_names[0]} {kind} | in {location} | Listings",
        category=root,
        path=f"{root} / {kind.capitalize()}",
        description=f"{colour_names[0]} {kind}, {pattern}, with {colour_names[1].lower()}. Used with care.",
        pence=int(np.exp(rng.normal(7.5, 1.3))),
        location=location,
        icon=icon,
        pattern=pattern,
        colours=(colours[0], colours[1]),  # type: ignore[arg-type]
        image_ids=tuple(make_id(seed, "image", index, photo) for photo in range(n_photos)),
    )


def make_id(*parts: object) -> str:
    """Return a UUID that depends only on the parts."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "marketplace/" + "/".join(map(str, parts))))
