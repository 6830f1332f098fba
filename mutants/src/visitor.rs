//! Finds the places of the mutants in a source, and what is written there.

use crate::text::{Edit, Piece};
use crate::{Mutant, Places};
use proc_macro2::LineColumn;
use std::collections::BTreeMap;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, UnOp};

/// The changes of a source. Takes what it finds out of `places`; what cannot be switched at run time goes to `left_out`.
pub(crate) fn edits(
    source: &str,
    places: &mut Places,
    left_out: &mut BTreeMap<usize, String>,
) -> Result<Vec<Edit>, syn::Error> {
    let file = syn::parse_file(source)?;
    let mut lines = vec![0];
    lines.extend(source.match_indices('\n').map(|(at, _)| at + 1));
    let mut finder = Finder { source, lines, places, left_out, edits: Vec::new(), in_const: 0 };
    finder.visit_file(&file);
    Ok(finder.edits)
}

struct Finder<'a> {
    source: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    places: &'a mut Places,
    left_out: &'a mut BTreeMap<usize, String>,
    edits: Vec<Edit>,
    /// How many constants this is in: nothing can be switched there.
    in_const: usize,
}

fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

fn on(number: usize) -> String {
    format!("crate::mutant_switch::on({number})")
}

/// One text for each mutant, and the one that is there.
fn choice(mutants: Vec<(usize, Vec<Piece>)>, otherwise: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = vec![text("(")];
    for (number, mutated) in mutants {
        pieces.push(text(format!("if {} {{ ", on(number))));
        pieces.push(Piece::Mutant(number, mutated));
        pieces.push(text(" } else "));
    }
    pieces.push(text("{ "));
    pieces.extend(otherwise);
    pieces.push(text(" })"));
    pieces
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl Finder<'_> {
    fn offset(&self, at: LineColumn) -> usize {
        let start = self.lines[at.line - 1];
        self.source[start..].chars().take(at.column).map(char::len_utf8).sum::<usize>() + start
    }

    fn range(&self, node: &impl Spanned) -> Range<usize> {
        let span = node.span();
        self.offset(span.start())..self.offset(span.end())
    }

    /// The mutants of this genre that begin here.
    fn take(&mut self, genre: &str, at: LineColumn) -> Vec<Mutant> {
        let mutants = self.places.remove(&(genre.to_owned(), at.line, at.column + 1)).unwrap_or_default();
        if self.in_const > 0 {
            self.leave_out(mutants, "in a constant");
            return Vec::new();
        }
        mutants
    }

    fn leave_out(&mut self, mutants: Vec<Mutant>, why: &str) {
        for mutant in mutants {
            self.left_out.insert(mutant.number, why.to_owned());
        }
    }

    fn constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.in_const += 1;
        visit(self);
        self.in_const -= 1;
    }

    fn body(&mut self, signature: &syn::Signature, block: &Block) {
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        let mutants = self.take("FnValue", first.span().start());
        if mutants.is_empty() {
            return;
        }
        if self.source[self.range(&signature.output)].contains("impl ") {
            // All that a function returns is of one type then.
            return self.leave_out(mutants, "the return type is any of a trait");
        }
        let range = self.range(first).start..self.range(last).end;
        let mut pieces = Vec::new();
        for mutant in mutants {
            pieces.push(text(format!("if {} {{ ", on(mutant.number))));
            let value = format!("return {};", mutant.replacement);
            pieces.push(Piece::Mutant(mutant.number, vec![text(value)]));
            pieces.push(text(" } "));
        }
        pieces.push(Piece::Source(range.clone()));
        self.edits.push(Edit { range, pieces });
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.in_const += usize::from(item.sig.constness.is_some());
        self.body(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
        self.in_const -= usize::from(item.sig.constness.is_some());
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.in_const += usize::from(item.sig.constness.is_some());
        self.body(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
        self.in_const -= usize::from(item.sig.constness.is_some());
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant(|it| visit::visit_item_const(it, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant(|it| visit::visit_item_static(it, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(|it| visit::visit_impl_item_const(it, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.constant(|it| visit::visit_trait_item_const(it, item));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.constant(|it| visit::visit_variant(it, variant));
    }

    fn visit_type(&mut self, ty: &'ast syn::Type) {
        self.constant(|it| visit::visit_type(it, ty));
    }

    fn visit_generic_argument(&mut self, argument: &'ast syn::GenericArgument) {
        self.constant(|it| visit::visit_generic_argument(it, argument));
    }

    fn visit_expr_const(&mut self, expr: &'ast syn::ExprConst) {
        self.constant(|it| visit::visit_expr_const(it, expr));
    }

    fn visit_expr_repeat(&mut self, expr: &'ast syn::ExprRepeat) {
        self.visit_expr(&expr.expr);
        self.constant(|it| it.visit_expr(&expr.len));
    }

    fn visit_pat(&mut self, pat: &'ast syn::Pat) {
        self.constant(|it| visit::visit_pat(it, pat));
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let mutants = self.take("BinaryOperator", expr.op.span().start());
        if has_let(&expr.left) || has_let(&expr.right) {
            // As it stands, `let .. || ..` does not compile.
            self.leave_out(mutants, "beside a let");
        } else if !mutants.is_empty() {
            let range = self.range(expr);
            let (left, right) = (self.range(&expr.left), self.range(&expr.right));
            let with = |first: Vec<Piece>, operator: &str| {
                let mut pieces = first;
                pieces.extend([text(format!(" {operator} (")), Piece::Source(right.clone()), text(")")]);
                pieces
            };
            let operator = self.source[self.range(&expr.op)].to_owned();
            let is_comparison = matches!(
                expr.op,
                BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
            );
            let is_assignment = operator.len() > 1 && operator.ends_with('=') && !is_comparison;
            // Comparisons take their left side by reference, assignments as a place: written twice. All others once, or
            // nested ones would grow without end.
            let left_side = || match (is_comparison, is_assignment) {
                (true, _) => vec![text("("), Piece::Source(left.clone()), text(")")],
                (_, true) => vec![Piece::Source(left.clone())],
                _ => vec![text("mutant_left")],
            };
            let mutants =
                mutants.into_iter().map(|it| (it.number, with(left_side(), &it.replacement))).collect::<Vec<_>>();
            let mut pieces = choice(mutants, with(left_side(), &operator));
            if !is_comparison && !is_assignment {
                let first = [text("({ let mutant_left = "), Piece::Source(left.clone()), text("; ")];
                pieces = first.into_iter().chain(pieces).chain([text(" })")]).collect();
            }
            self.edits.push(Edit { range, pieces });
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        let mutants = self.take("UnaryOperator", expr.op.span().start());
        if !mutants.is_empty() {
            let inner = self.range(&expr.expr);
            let mutants = mutants.into_iter().map(|it| (it.number, vec![Piece::Source(inner.clone())])).collect();
            let operator = if matches!(expr.op, UnOp::Not(_)) { "!" } else { "-" };
            let pieces = choice(mutants, vec![text(operator), Piece::Source(inner.clone())]);
            self.edits.push(Edit { range: self.range(expr), pieces });
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        let is_all = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        if !expr.arms.iter().any(is_all) {
            for arm in &expr.arms {
                let mutants = self.take("MatchArm", arm.span().start());
                self.leave_out(mutants, "no arm takes what it took");
            }
        }
        visit::visit_expr_match(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let range = self.range(&arm.pat);
        for mutant in self.take("MatchArm", arm.span().start()) {
            let guard = text(format!(" if !{}", on(mutant.number)));
            let pieces = vec![Piece::Source(range.clone()), Piece::Mutant(mutant.number, vec![guard])];
            self.edits.push(Edit { range: range.clone(), pieces });
        }
        if let Some((_, guard)) = &arm.guard {
            let mutants = self.take("MatchArmGuard", guard.span().start());
            if has_let(guard) {
                self.leave_out(mutants, "beside a let");
            } else if !mutants.is_empty() {
                let mutants = mutants.into_iter().map(|it| (it.number, vec![text(it.replacement)])).collect();
                let range = self.range(guard);
                let pieces = choice(mutants, vec![Piece::Source(range.clone())]);
                self.edits.push(Edit { range, pieces });
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expr: &'ast syn::ExprStruct) {
        let range = self.range(expr);
        let mut mutants = Vec::new();
        for pair in expr.fields.pairs() {
            let field = self.range(*pair.value());
            let end = pair.punct().map_or(field.end, |it| self.range(it).end);
            for mutant in self.take("StructField", pair.value().span().start()) {
                let rest = vec![Piece::Source(range.start..field.start), Piece::Source(end..range.end)];
                mutants.push((mutant.number, rest));
            }
        }
        if !mutants.is_empty() {
            let pieces = choice(mutants, vec![Piece::Source(range.clone())]);
            self.edits.push(Edit { range, pieces });
        }
        visit::visit_expr_struct(self, expr);
    }
}
