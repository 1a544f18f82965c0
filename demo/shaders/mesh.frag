#include "lighting.glsl"

in vec4 color;
#ifdef PER_PIXEL
in vec3 world_position;
in vec3 world_normal;
in vec2 surface;
#endif

out vec4 frag_color;

void main()
{
#ifdef PER_PIXEL
    frag_color = vec4(lit(world_position, world_normal, color.rgb, surface), color.a);
#else
    frag_color = color;
#endif
}
