// Per vertex: position, normal, (roughness, two-sided), linear RGBA.
//
// A processor lights vertices: a face has fewer of them than the picture has pixels, and hair is drawn in many layers. A
// graphics card lights pixels.
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 texcoord_0;
layout(location = 3) in vec4 color_0;

uniform mat4 camera;

#include "lighting.glsl"

out vec4 color;
#ifdef PER_PIXEL
out vec3 world_position;
out vec3 world_normal;
out vec2 surface;
#endif

void main()
{
    gl_Position = camera * vec4(position, 1.0);
#ifdef PER_PIXEL
    color = color_0;
    world_position = position;
    world_normal = normal;
    surface = texcoord_0;
#else
    color = vec4(lit(position, normal, color_0.rgb, texcoord_0), color_0.a);
#endif
}
