uniform sampler2D image;
in vec2 uv;
out vec4 frag_color;

void main()
{
    frag_color = texture(image, uv);
}
