//! Names for invented people. Any likeness to a living person comes from how common these names are.

/// First and last names as they are usual somewhere.
pub(super) struct Names {
    pub first: &'static [&'static str],
    pub last: &'static [&'static str],
}

pub(super) const GERMAN: Names = Names {
    first: &[
        "Anna",
        "Lena",
        "Julia",
        "Sabine",
        "Katharina",
        "Monika",
        "Petra",
        "Laura",
        "Johanna",
        "Ursula",
        "Claudia",
        "Nina",
        "Jürgen",
        "Thomas",
        "Michael",
        "Stefan",
        "Andreas",
        "Lukas",
        "Jonas",
        "Felix",
        "Paul",
        "Matthias",
        "Uwe",
        "Björn",
        "Clara",
        "Emil",
        "Greta",
        "Moritz",
        "Franziska",
        "Tobias",
    ],
    last: &[
        "Müller",
        "Schmidt",
        "Schneider",
        "Fischer",
        "Weber",
        "Meyer",
        "Wagner",
        "Becker",
        "Schulz",
        "Hoffmann",
        "Koch",
        "Bauer",
        "Richter",
        "Klein",
        "Wolf",
        "Schröder",
        "Neumann",
        "Schwarz",
        "Zimmermann",
        "Braun",
        "Krüger",
        "Hofmann",
        "Hartmann",
        "Lange",
        "Schmitt",
        "Werner",
        "Krause",
        "Lehmann",
        "Köhler",
        "Huber",
    ],
};

pub(super) const FRENCH: Names = Names {
    first: &[
        "Camille",
        "Léa",
        "Manon",
        "Chloé",
        "Inès",
        "Juliette",
        "Hélène",
        "Sophie",
        "Louis",
        "Gabriel",
        "Jules",
        "Hugo",
        "Antoine",
        "Étienne",
        "François",
        "Mathieu",
    ],
    last: &[
        "Martin", "Bernard", "Dubois", "Thomas", "Robert", "Richard", "Petit", "Durand", "Leroy", "Moreau", "Simon",
        "Laurent", "Lefèvre", "Garnier", "Faure", "Rousseau", "d'Arcy",
    ],
};

pub(super) const ENGLISH: Names = Names {
    first: &[
        "Olivia",
        "Amelia",
        "Isla",
        "Emily",
        "Grace",
        "Charlotte",
        "Hannah",
        "Sarah",
        "George",
        "Harry",
        "Jack",
        "Oliver",
        "William",
        "James",
        "Daniel",
        "Samuel",
    ],
    last: &[
        "Smith", "Jones", "Taylor", "Brown", "Williams", "Wilson", "Johnson", "Davies", "Robinson", "Wright",
        "Thompson", "Evans", "Walker", "White", "Green", "O'Neill",
    ],
};

pub(super) const POLISH: Names = Names {
    first: &[
        "Zofia",
        "Hanna",
        "Maja",
        "Agnieszka",
        "Katarzyna",
        "Małgorzata",
        "Jan",
        "Jakub",
        "Piotr",
        "Paweł",
        "Michał",
        "Tomasz",
    ],
    last: &[
        "Nowak",
        "Kowalski",
        "Wiśniewski",
        "Wójcik",
        "Kamiński",
        "Lewandowski",
        "Zieliński",
        "Szymański",
        "Woźniak",
        "Dąbrowski",
        "Mazur",
        "Król",
    ],
};

pub(super) const FINNISH: Names = Names {
    first: &["Aino", "Helmi", "Venla", "Sofia", "Päivi", "Eino", "Oskari", "Väinö", "Mikko", "Jari"],
    last: &["Korhonen", "Virtanen", "Mäkinen", "Nieminen", "Mäkelä", "Hämäläinen", "Laine", "Heikkinen", "Koskinen"],
};

pub(super) const PORTUGUESE: Names = Names {
    first: &["Maria", "Leonor", "Matilde", "Beatriz", "Inês", "João", "Francisco", "Afonso", "Tomás", "Gonçalo"],
    last: &[
        "Silva",
        "Santos",
        "Ferreira",
        "Pereira",
        "Oliveira",
        "Costa",
        "Rodrigues",
        "Martins",
        "Sousa",
        "Conceição",
    ],
};

/// The letters of a name as they stand in an email address: `Müller` becomes `mueller`, `O'Neill` `oneill`.
pub(super) fn ascii(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.to_lowercase().chars() {
        match letter {
            'a'..='z' => plain.push(letter),
            'ä' => plain.push_str("ae"),
            'ö' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ą' | 'á' | 'ã' => plain.push('a'),
            'ç' | 'ć' => plain.push('c'),
            'é' | 'è' | 'ê' | 'ę' => plain.push('e'),
            'ł' => plain.push('l'),
            'ń' => plain.push('n'),
            'ó' => plain.push('o'),
            'ś' => plain.push('s'),
            'ź' | 'ż' => plain.push('z'),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_stand_in_an_address() {
        for names in [&GERMAN, &FRENCH, &ENGLISH, &POLISH, &FINNISH, &PORTUGUESE] {
            for name in names.first.iter().chain(names.last) {
                let letters = name.chars().filter(|c| c.is_alphabetic()).count();
                assert!(ascii(name).len() >= letters, "a letter of {name} is lost: {}", ascii(name));
            }
        }
        assert_eq!(ascii("Jürgen"), "juergen");
    }
}
