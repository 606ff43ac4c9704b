"""Depth, face ids, occlusion and pictures of meshes, batched, on the CPU and on a GPU.

Conventions: vertices are metres in the camera frame (x right, y down, z forward); `u = fx X / Z + cx`,
`v = fy Y / Z + cy`; pixel (x, y) IS the point (x, y), so pixel centres lie at integer coordinates and an image of
width W shows u from -0.5 to W - 0.5, as the WildHOI release counts. Maps are indexed `[image, y, x]`.
"""

from wildhoi.rendering.camera import project as project
from wildhoi.rendering.depth import DepthMaps as DepthMaps
from wildhoi.rendering.depth import depth_maps as depth_maps
from wildhoi.rendering.depth import listed_depth as listed_depth
from wildhoi.rendering.depth import pixel_depth as pixel_depth
from wildhoi.rendering.depth import plane_depth as plane_depth
from wildhoi.rendering.fixed import FixedFaces as FixedFaces
from wildhoi.rendering.fixed import measure_capacity as measure_capacity
from wildhoi.rendering.fixed import nearest_faces_fixed as nearest_faces_fixed
from wildhoi.rendering.occlusion import Occlusion as Occlusion
from wildhoi.rendering.occlusion import occlusion as occlusion
from wildhoi.rendering.occlusion import overlap_vertices as overlap_vertices
from wildhoi.rendering.pictures import picture as picture
from wildhoi.rendering.pictures import shade as shade
from wildhoi.rendering.raster import Raster as Raster
from wildhoi.rendering.raster import interpolate as interpolate
from wildhoi.rendering.raster import rasterize as rasterize
from wildhoi.rendering.raster import visible_faces as visible_faces
