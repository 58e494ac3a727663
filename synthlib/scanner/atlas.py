"""Where bodies of face, skull base, neck and vessels lie: MNI mm, on both sides of the head.

Centres, axes and courses are those of adults in atlases of cross-sectional anatomy
(Moeller & Reif, Pocket Atlas of Sectional Anatomy, vol. 1, 4th ed. 2013), read to a few
millimetres; a subject's warp makes each one's own. x is the distance from the midline.
"""

from __future__ import annotations

from synthlib.scanner.shapes import Body, Ellipsoid, Tube

# What bulges out of the ellipsoid of the scalp: face, nose, chin, neck.
FACE = (
    Ellipsoid((0.0, 26.0, -60.0), (64.0, 58.0, 52.0)),
    Ellipsoid((0.0, 32.0, -34.0), (61.0, 47.0, 38.0)),  # brows, temples, orbits
    Ellipsoid((0.0, 84.0, -56.0), (12.0, 19.0, 18.0)),  # nose
    Ellipsoid((0.0, 44.0, -106.0), (37.0, 37.0, 23.0)),  # chin
    Ellipsoid((0.0, 16.0, -94.0), (60.0, 42.0, 32.0)),  # jaw
    Ellipsoid((0.0, -14.0, -66.0), (68.0, 68.0, 50.0)),  # between face and nape: parotid, mastoid
    Ellipsoid((0.0, -46.0, -84.0), (61.0, 48.0, 44.0)),  # nape
    Tube(((0.0, -32.0, -84.0), (0.0, -36.0, -240.0)), 56.0, 52.0),  # neck
)
EARS = (Ellipsoid((73.5, -27.0, -30.0), (6.5, 14.0, 24.0)),)
CONCHA = (Ellipsoid((82.0, -22.0, -36.0), (4.5, 7.0, 11.0)),)

ORBIT = (Ellipsoid((30.0, 46.0, -36.0), (17.0, 24.0, 16.0)),)
EYE = (Ellipsoid((32.0, 59.0, -36.0), (12.0, 12.0, 12.0)),)
LENS = (Ellipsoid((32.0, 68.0, -36.0), (4.6, 2.2, 4.6)),)
OPTIC_NERVE = (Tube(((31.0, 47.0, -36.0), (18.0, 26.0, -31.0), (4.0, 12.0, -24.0)), 2.0),)
EYE_MUSCLES = (
    Tube(((19.0, 60.0, -36.0), (15.0, 30.0, -32.0)), 1.9),
    Tube(((44.5, 58.0, -36.0), (36.0, 42.0, -35.0), (22.0, 28.0, -32.0)), 1.9),
    Tube(((31.0, 60.0, -23.5), (21.0, 30.0, -27.0)), 1.9),
    Tube(((31.0, 60.0, -48.5), (21.0, 30.0, -37.0)), 1.9),
)

BONES: tuple[Body, ...] = (
    Ellipsoid((18.0, 50.0, -62.0), (25.0, 20.0, 18.0)),  # maxilla
    Ellipsoid((0.0, 40.0, -77.0), (21.0, 26.0, 4.0)),  # hard palate
    Ellipsoid((47.0, 48.0, -50.0), (9.0, 12.0, 9.0)),  # zygoma
    Tube(((54.0, 42.0, -50.0), (67.0, 20.0, -46.0), (66.0, 0.0, -44.0)), 3.0),  # its arch
    Ellipsoid((31.0, 48.0, -36.0), (20.0, 22.0, 19.0)),  # walls of the orbit
    Tube(((0.0, 66.0, -106.0), (22.0, 56.0, -106.0), (44.0, 16.0, -98.0)), 7.5, 6.5),  # mandible
    Tube(((44.0, 14.0, -98.0), (53.0, 0.0, -52.0)), 5.5, 4.5),  # its ramus and head
    Tube(((0.0, 72.0, -89.0), (18.0, 64.0, -89.0), (29.0, 36.0, -88.0)), 5.0),  # teeth
    Tube(((0.0, 14.0, -38.0), (0.0, -20.0, -58.0)), 9.5),  # sphenoid and clivus
    Tube(((16.0, -14.0, -44.0), (56.0, -32.0, -36.0)), 9.0, 10.0),  # petrous bone, mastoid
    Tube(((0.0, -22.0, -72.0), (0.0, -20.0, -100.0)), 7.0, 9.0),  # dens and axis
    Tube(((0.0, -20.0, -100.0), (0.0, -22.0, -200.0)), 11.0),  # vertebral bodies
    Tube(((0.0, -64.0, -84.0), (24.0, -42.0, -80.0), (20.0, -26.0, -80.0)), 4.5),  # atlas
    Tube(((0.0, -60.0, -102.0), (17.0, -46.0, -102.0), (14.0, -26.0, -102.0)), 4.5),
    Tube(((0.0, -62.0, -102.0), (0.0, -86.0, -110.0)), 4.5),  # spinous process
    Tube(((0.0, -60.0, -124.0), (17.0, -46.0, -122.0), (14.0, -26.0, -122.0)), 4.5),
)
BONE_WALL_MM = 1.8  # of compact bone around marrow
DISC_MM = 21.0  # from one disc of the neck to the next
CORD_CANAL = (Tube(((0.0, -40.0, -66.0), (0.0, -43.0, -100.0), (0.0, -43.0, -210.0)), 9.0),)
CORD = (Tube(((0.0, -38.0, -64.0), (0.0, -42.0, -80.0), (0.0, -43.0, -210.0)), 6.5, 5.0),)
CORD_WHITE_MM = 3.0  # around its grey matter

MUSCLES: tuple[Body, ...] = (
    Tube(((60.0, 22.0, -56.0), (56.0, 14.0, -98.0)), 8.0),  # masseter
    Tube(((22.0, 20.0, -52.0), (44.0, 4.0, -56.0)), 8.0),  # pterygoids
    Tube(((25.0, 14.0, -58.0), (42.0, 4.0, -94.0)), 7.0),
    Ellipsoid((0.0, 38.0, -98.0), (21.0, 28.0, 17.0)),  # tongue
    Tube(((58.0, -36.0, -56.0), (52.0, -22.0, -100.0), (36.0, 8.0, -170.0)), 9.0),  # sternomastoid
    Tube(((12.0, -72.0, -62.0), (10.0, -68.0, -200.0)), 10.0),  # deep neck
    Tube(((28.0, -62.0, -60.0), (26.0, -58.0, -200.0)), 10.0),
    Tube(((18.0, -82.0, -64.0), (18.0, -84.0, -200.0)), 8.0),  # splenius, trapezius
    Tube(((10.0, -8.0, -56.0), (12.0, -4.0, -200.0)), 6.0),  # before the spine
)
FAT_PADS = (
    Ellipsoid((46.0, 36.0, -72.0), (11.0, 15.0, 20.0)),  # cheek
    Ellipsoid((52.0, 44.0, -20.0), (8.0, 10.0, 10.0)),  # behind the orbit
    Ellipsoid((26.0, -6.0, -78.0), (10.0, 9.0, 22.0)),  # beside the pharynx
)
GLANDS = (
    Ellipsoid((60.0, -8.0, -74.0), (9.0, 13.0, 22.0)),  # parotid
    Ellipsoid((32.0, 22.0, -108.0), (9.0, 14.0, 9.0)),  # submandibular
)

# Between the tables of the skull, which part around it.
FRONTAL_SINUS = (Ellipsoid((11.0, 74.0, -4.0), (12.0, 12.0, 13.0)),)
# Air, lined with mucosa.
CAVITIES: tuple[Body, ...] = (
    Ellipsoid((7.0, 18.0, -40.0), (9.0, 12.0, 9.0)),  # sphenoid
    Ellipsoid((6.0, 58.0, -62.0), (6.0, 30.0, 14.0)),  # nose
    Ellipsoid((28.0, 46.0, -62.0), (12.0, 14.0, 14.0)),  # maxillary
    Tube(((77.0, -20.0, -37.0), (62.0, -20.0, -39.0), (48.0, -20.0, -40.0)), 2.6),  # ear canal
    Ellipsoid((0.0, 6.0, -66.0), (12.0, 9.0, 12.0)),  # pharynx
    Tube(((0.0, 2.0, -76.0), (0.0, 0.0, -104.0), (0.0, 8.0, -210.0)), 6.0, 8.0),  # and windpipe
    Tube(((0.0, 60.0, -84.0), (0.0, 20.0, -81.0)), 2.5),  # above the tongue
)
LINING_MM = 1.6
# Bones that are honeycombed by air cells: from one cell to the next but one in mm, and how few
# cells were never filled with air, as `covers.cells` takes them.
CELLS = (
    (Ellipsoid((8.0, 46.0, -38.0), (8.0, 18.5, 10.0)), 11.0, 2.2),  # ethmoid
    (Ellipsoid((57.0, -37.0, -44.0), (8.5, 11.0, 13.0)), 7.5, 0.5),  # mastoid
)
CELLS_UNEVEN_MM, CELLS_WALL_MM, CELLS_LINING_MM = 1.5, 0.7, 0.6
TURBINATES = (
    Tube(((7.5, 76.0, -69.0), (9.0, 60.0, -67.0), (8.0, 34.0, -69.0)), 3.0, 4.6),
    Tube(((6.0, 70.0, -57.0), (7.5, 52.0, -55.0), (7.0, 32.0, -59.0)), 2.2, 3.8),
)
SEPTUM = (Ellipsoid((0.0, 58.0, -62.0), (9.0, 31.0, 16.0)),)
SEPTUM_MM = 1.6  # half its thickness, with its lining

# Veins and sinuses, then arteries, by their courses, each from where its blood comes from to where
# it goes; the superior sagittal sinus follows the skull.
SINUSES = (
    Tube(
        ((0.0, -47.0, 6.0), (0.0, -55.0, 3.4), (0.0, -66.0, 0.5), (0.0, -80.0, -4.2),
         (0.0, -94.0, -8.0)), 1.9, 2.6,
    ),  # straight
    Tube(
        ((0.0, -32.0, 9.0), (0.0, -36.0, 6.2), (0.0, -41.0, 5.2), (0.0, -47.0, 6.0)), 1.5, 2.0
    ),  # great cerebral vein, below the splenium
    Tube(
        ((1.6, 3.0, 12.0), (2.6, -2.0, 14.0), (3.2, -10.0, 15.2), (3.4, -20.0, 14.4),
         (2.6, -28.0, 11.6), (0.8, -34.0, 8.0)), 0.7, 1.2,
    ),  # internal cerebral
    Tube(((2.0, -98.0, -10.0), (34.0, -86.0, -18.0), (56.0, -58.0, -30.0)), 3.6),  # transverse
    Tube(((56.0, -58.0, -30.0), (46.0, -44.0, -46.0), (27.0, -32.0, -60.0)), 3.8),  # sigmoid
    Tube(((27.0, -30.0, -62.0), (32.0, -14.0, -90.0), (30.0, -4.0, -200.0)), 4.6),  # jugular
    Tube(((12.0, -30.0, -14.0), (18.0, -34.0, -4.0), (4.0, -38.0, 4.0)), 1.1),  # basal
)  # fmt: skip
SEPTAL_VEINS = (
    Tube(((4.5, 24.0, 4.0), (2.0, 14.0, 9.0), (2.0, 4.0, 13.0)), 0.3, 0.5),
    Tube(((18.0, -8.0, 22.0), (12.0, 0.0, 22.0), (3.0, 3.0, 14.0)), 0.4, 0.6),
)
ARTERIES = (
    Tube(
        ((0.0, -18.0, -48.0), (0.5, -12.0, -36.0), (1.0, -11.0, -28.0), (0.0, -14.5, -18.0)), 1.7
    ),  # basilar, before the pons
    Tube(
        ((16.0, -20.0, -120.0), (15.0, -31.0, -78.0), (8.0, -27.0, -58.0), (1.5, -19.0, -49.0)),
        1.6,
    ),  # vertebral
    Tube(
        ((26.0, -4.0, -130.0), (24.0, -2.0, -70.0), (20.0, -8.0, -46.0), (11.0, 0.0, -34.0),
         (12.0, 10.0, -30.0), (13.0, 4.0, -20.0)), 2.6, 1.9,
    ),  # internal carotid
    Tube(((13.0, 4.0, -19.0), (30.0, 8.0, -18.0), (38.0, 2.0, -12.0)), 1.4, 1.2),  # middle
    Tube(((38.0, 2.0, -12.0), (42.0, -14.0, 2.0), (46.0, -34.0, 12.0)), 1.0, 0.7),
    Tube(((38.0, 2.0, -12.0), (40.0, 18.0, -2.0), (44.0, 26.0, 10.0)), 0.9, 0.7),
    Tube(
        ((11.0, 6.0, -19.0), (3.5, 13.0, -18.0), (2.5, 22.0, -14.0), (2.3, 30.0, -7.0),
         (2.6, 36.0, 1.0), (2.4, 38.5, 9.0), (2.6, 36.0, 17.0), (2.3, 29.0, 23.0),
         (2.5, 18.0, 27.5), (2.4, 4.0, 30.0), (2.6, -12.0, 31.0)), 1.2, 0.6,
    ),  # anterior cerebral, around the knee of the callosum
    Tube(
        ((2.0, -15.0, -18.0), (14.0, -20.0, -17.0), (20.0, -30.0, -14.0), (22.0, -52.0, -4.0)),
        1.2, 0.8,
    ),  # posterior
)  # fmt: skip
CHOROID_PLEXUS: tuple[Body, ...] = (
    Ellipsoid((23.0, -40.0, 10.0), (4.0, 9.0, 6.0)),
    Tube(((22.0, -38.0, 14.0), (12.0, -22.0, 20.0), (5.0, -2.0, 14.0)), 1.2),
    Ellipsoid((0.0, -52.0, -36.0), (7.0, 2.0, 3.0)),
)
