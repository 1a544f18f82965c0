#version 330 core
// Per vertex: position, normal, (roughness, spare), linear RGBA.
layout(location = 0) in vec3 position;
layout(location = NORMAL_LOC) in vec3 normal;
layout(location = TEXCOORD_0_LOC) in vec2 texcoord_0;
layout(location = COLOR_0_LOC) in vec4 color_0;

uniform mat4 V;
uniform mat4 P;

out vec3 world_position;
out vec3 world_normal;
out vec4 albedo;
flat out float roughness;

void main()
{
    gl_Position = P * V * vec4(position, 1.0);
    world_position = position;
    world_normal = normal;
    albedo = color_0;
    roughness = texcoord_0.x;
}
