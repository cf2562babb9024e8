use std::io::{BufRead, Write};
fn main() {
    let mut args = std::env::args().skip(1);
    let model = ginnel_embed::Model::open(args.next().unwrap().as_ref()).unwrap();
    let texts: Vec<String> = std::io::stdin()
        .lock()
        .lines()
        .map(|l| serde_json::from_str(&l.unwrap()).unwrap())
        .collect();
    let refs: Vec<&str> = texts.iter().map(|t| &**t).collect();
    let v = model.embed(&refs, &Default::default()).unwrap();
    let mut o = std::io::stdout().lock();
    for v in v {
        for x in v {
            o.write_all(&x.to_le_bytes()).unwrap();
        }
    }
}
