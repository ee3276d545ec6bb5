"""The look of reports: light and dark, and from 320 pixels of width on."""

STYLE = """
:root{--ink:#1f2328;--faint:#59636e;--line:#d1d9e0;--paper:#fff;--shade:#f6f8fa;--a:#0969da;--b:#bc4c00;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--faint:#9198a1;--line:#3d444d;--paper:#0d1117;--shade:#161b22;
--a:#58a6ff;--b:#f0883e;--bad:#ff7b72}}
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:1rem clamp(.75rem,3vw,2rem) 2rem;max-width:80rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans","Noto Sans CJK SC","WenQuanYi Micro Hei",
"Noto Naskh Arabic",sans-serif,"Noto Color Emoji";overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .5rem}
h2{font-size:1.2rem;margin:2rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.25rem 0 .35rem}
p{margin:.4rem 0;max-width:60rem}
a{color:var(--a)}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.75rem 0}
footer,.note,figcaption,dt{color:var(--faint)}
.note,footer{font-size:.87rem}
footer{margin-top:2rem;border-top:1px solid var(--line);padding-top:.5rem}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) minmax(0,1fr);gap:.15rem 1rem;margin:.5rem 0}
dd{margin:0}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:.75rem 0}
.tiles>div{background:var(--shade);border:1px solid var(--line);border-radius:6px;padding:.4rem .8rem;flex:0 1 auto}
.tiles b{display:block;font-size:1.35rem;line-height:1.3;font-variant-numeric:tabular-nums}
.tiles span{font-size:.85rem;color:var(--faint)}
.scroll{overflow-x:auto;max-width:100%;margin:.5rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;overflow-wrap:normal}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;vertical-align:bottom}
thead th{border-bottom:2px solid var(--line)}
.l{text-align:left}
.matrix td{text-align:center;min-width:2.6rem}
.matrix td.right{outline:1px solid var(--faint);outline-offset:-2px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,23rem),1fr));gap:1rem;margin:.75rem 0}
figure{margin:0;min-width:0}
.chart{max-width:38rem}
.chart figcaption{font-size:.9rem}
.chart figcaption b{color:var(--ink);margin-right:.75rem}
.key{display:inline-block;margin-right:.75rem}
.key::before{content:"";display:inline-block;width:1.4em;height:0;border-top:2.5px solid;margin-right:.35em;vertical-align:.25em}
.key.a::before{border-color:var(--a);border-top-style:dashed}
.key.b::before{border-color:var(--b)}
.key.m::before{border-color:var(--faint);border-top:2px dotted}
.key.bars::before{width:.8em;height:.8em;border:1px solid var(--a);background:var(--a);opacity:.6;vertical-align:-.05em}
svg{display:block;width:100%;height:auto;font-size:13px;fill:var(--faint)}
svg .grid{stroke:var(--line);stroke-width:1}
svg .a,svg .b,svg .m{fill:none;stroke-width:2;stroke-linejoin:round}
svg .a{stroke:var(--a);stroke-dasharray:5 3}
svg .b{stroke:var(--b)}
svg .m{stroke:var(--faint);stroke-width:1.5;stroke-dasharray:2 3}
svg .da{fill:var(--a)}svg .db{fill:var(--b)}
svg .bar{fill:var(--a);fill-opacity:.55;stroke:var(--a)}
svg .gap{fill:var(--b);fill-opacity:.25}
.images{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:1rem .75rem;margin:.75rem 0}
.images figcaption{font-size:.83rem;line-height:1.4}
.images figcaption b{color:var(--ink);font-weight:600}
.images img{display:block;height:auto;max-width:100%;border:1px solid var(--line);margin-bottom:.2rem}
.map{width:min(100%,32rem);height:auto;image-rendering:pixelated;border:1px solid var(--line)}
@media (prefers-color-scheme:dark){.map{filter:invert(1) hue-rotate(180deg)}}
.small{image-rendering:pixelated}
.problem{border-left:3px solid var(--bad);padding-left:.6rem}
details{margin:.5rem 0}
summary{cursor:pointer;color:var(--a)}
@media (max-width:40rem){th,td{padding:.25rem .35rem}thead th{white-space:normal}
.scroll .l{white-space:normal;overflow-wrap:break-word;min-width:6rem;max-width:9rem}}
@media print{nav{display:none}section{break-inside:auto}figure{break-inside:avoid}}
"""
